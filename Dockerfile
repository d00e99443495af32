# fallow's API, worker and CLI in one image. No container of it has been run yet.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/fallow
COPY requirements.lock ./
RUN /opt/fallow/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY workflows workflows
COPY activities activities
COPY workers workers
COPY fallow fallow
RUN /opt/fallow/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
# The keys' volume is made with this owner, so that no process runs as root.
RUN useradd --uid 10001 --create-home fallow \
    && install --directory --owner=fallow --mode=0700 /var/lib/fallow/keys
COPY --from=build /opt/fallow /opt/fallow
ENV PATH=/opt/fallow/bin:$PATH PYTHONUNBUFFERED=1
USER fallow
WORKDIR /var/lib/fallow
VOLUME /var/lib/fallow/keys
ENTRYPOINT ["fallow"]
CMD ["--help"]
