"""What a local run needs around the engine: servers, simulators, the demo. Outermost ring."""
