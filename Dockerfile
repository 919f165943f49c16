# One image, two commands: `serve` (the default; API plus an embedded worker) and `worker`.
#
#   docker build -t tangent-composer .
#   docker run -p 8000:8000 -v tangent-data:/data -e TANGENT_API_KEY=… tangent-composer
#   docker run --no-healthcheck -v tangent-data:/data -e TANGENT_DATABASE_URL=… tangent-composer worker
#
# The health check asks the API, at the port of the flag or of the setting and past any proxy, so a
# container that only works has none; a worker's signs of life are its rows in the database.
# Every dependency comes with the hash that requirements.lock holds. Build arguments:
#   BASE                 the base image, by the digest of its index of architectures (Python 3.11.16, Debian 13); take a
#                        newer one (docker buildx imagetools inspect python:3.11-slim) with every release
#   REQUIREMENTS, PIP_EXTRA_INDEX_URL   another build of torch, e.g. the one for CPUs only, whose hash the lock
#                        does not know: REQUIREMENTS="-c constraints.txt .[serve]"
# deploy/compose.yaml runs the image with a read-only root and without capabilities.
ARG BASE=python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7
FROM ${BASE} AS build
ARG PIP_EXTRA_INDEX_URL
ARG REQUIREMENTS="--require-hashes -r requirements.lock"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /src

# Dependencies change seldom and weigh gigabytes: their layer depends on these files alone. The
# project's own packages are empty here, so this installs everything but them.
COPY pyproject.toml setup.py constraints.txt requirements.lock ./
RUN touch README.md LICENSE && pip install ${REQUIREMENTS} && (pip uninstall --yes tangent-composer || true)

COPY README.md LICENSE ./
COPY tangent tangent
COPY app app
COPY tangent_composer tangent_composer
COPY training_worker training_worker
COPY migrations migrations
RUN pip install --no-deps .

FROM ${BASE}
RUN useradd --create-home --uid 10001 tangent && install --directory --owner tangent /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 TANGENT_HOST=0.0.0.0 TANGENT_DATA_DIR=/data
USER tangent
WORKDIR /home/tangent
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, re, urllib.request as u; command = open('/proc/1/cmdline').read().replace(chr(0), ' '); flags = re.findall('tangent serve .*--port[ =]([0-9]+)', command); given = os.environ.get('TANGENT_PORT', '').strip(); port = (flags + [given] * given.isdigit() + ['8000'])[0]; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + port + '/livez', timeout=4)"]
ENTRYPOINT ["tangent"]
CMD ["serve"]
