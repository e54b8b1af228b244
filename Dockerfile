# The web service alone: what `pip install "realface[serve,postgres]"` needs, and Python: docker build -t realface .
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE MODEL_CARD.md ./
COPY src src
# pip compiles what it installs, and should: the container keeps no bytecode, so every start would compile all anew.
RUN python -m venv --without-pip /opt/realface \
 && pip --python /opt/realface/bin/python install --no-cache-dir -c constraints.txt ".[serve,postgres]"

FROM python:3.11-slim
COPY --from=build /opt/realface /opt/realface
RUN useradd --system --user-group --uid 10001 --no-create-home --shell /usr/sbin/nologin realface \
 && install -d -o realface -g realface -m 700 /data
ENV PATH=/opt/realface/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    REALFACE_HOST=0.0.0.0 REALFACE_PORT=8000
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", \
 "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"REALFACE_PORT\"]}/healthz', timeout=4)"]
ENTRYPOINT ["realface"]
CMD ["serve"]
