"""Queues, timeouts, retries, slots: one table, with its arithmetic.

==================  =======================================================================================
a step, locally     5 s, 2 attempts: our database answers in milliseconds; a marker is one history event
a step, regularly   after that: 1 min an attempt, for an hour; then ATTENTION and again every 10 minutes
a turn              10 min of work + 1 min to finish what is in flight; 8 s without a heartbeat and another worker takes it
a heartbeat         beaten every 1 s, passed on every 2 s (by itself the SDK takes 0.8 x 8 s = 6.4 s): 6 s to spare, not 1.6
a look come early   the database's clock is behind Temporal's: again after 1, 2, 4 ... 300 s, so 20 s cost 5 looks, not 20
slots               dispatch: at least one per target (a turn holds its slot while it waits for something due), and room for 32
                    platforms that are registered while the worker runs
==================  =======================================================================================
"""

from datetime import timedelta

from temporalio.common import RetryPolicy

RECYCLING_QUEUE = "fallow-recycling"
DISPATCH_QUEUE = "fallow-dispatch"

STEP_FOR = timedelta(seconds=5)
STEP_LOCAL_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=2)
STEP_REGULAR_FOR = timedelta(minutes=1)
STEP_REGULAR_WITHIN = timedelta(hours=1)
STEP_REGULAR_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
STEP_AGAIN_AFTER = timedelta(minutes=10)

LOOK_AGAIN_AFTER = timedelta(seconds=1)
LOOK_AGAIN_WITHIN = timedelta(minutes=5)

TURN_FOR = timedelta(minutes=10)
TURN_WITHIN = timedelta(days=1)
TURN_GRACE = timedelta(minutes=1)
TURN_BEAT_WITHIN = timedelta(seconds=8)
TURN_BEAT_EVERY = timedelta(seconds=2)
TURN_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
TURN_AGAIN_AFTER = timedelta(seconds=10)

#: Workflow slots per process: replays are CPU-bound in one Python process, and the deadlock detector allows 2 s.
WORKFLOW_SLOTS = 20
STEP_SLOTS = 10
STARTS_IN_FLIGHT = 20
ROOM_FOR_TARGETS = 32
