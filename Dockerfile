# One image, two commands: `serve` (the default; API plus an embedded worker) and `worker`.
#
#   docker build -t tangent-composer .
#   docker run -p 8000:8000 -v tangent-data:/data -e TANGENT_API_KEY=… tangent-composer
#   docker run --no-healthcheck -v tangent-data:/data -e TANGENT_DATABASE_URL=… tangent-composer worker
#
# The health check asks the API, so a container that only works has none; a worker's signs of life are
# its rows in the database.
# PIP_EXTRA_INDEX_URL as a build argument chooses another build of torch, e.g. the one for CPUs only.
FROM python:3.11-slim AS build
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /src

# Dependencies change seldom and weigh gigabytes: their layer depends on these two files alone. The
# project's own packages are empty here, so this installs everything but them.
COPY pyproject.toml constraints.txt ./
RUN touch README.md LICENSE && pip install -c constraints.txt . && pip uninstall --yes tangent-composer

COPY README.md LICENSE ./
COPY tangent tangent
COPY app app
COPY training_worker training_worker
COPY migrations migrations
RUN pip install --no-deps .

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 tangent && install --directory --owner tangent /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 TANGENT_HOST=0.0.0.0 TANGENT_DATA_DIR=/data
USER tangent
WORKDIR /home/tangent
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
ENTRYPOINT ["tangent"]
CMD ["serve"]
