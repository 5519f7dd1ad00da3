# docker build -t cryosplat .
# docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" cryosplat reconstruct particles.star -o run1
FROM python:3.13-slim
COPY . /source
# the CPU build of torch; leave the line out for the CUDA build (several GB more)
RUN pip install --no-cache-dir --constraint /source/constraints.txt torch \
        --index-url https://download.pytorch.org/whl/cpu \
    && pip install --no-cache-dir --constraint /source/constraints.txt '/source[view]' \
    && rm -r /source
# compiled kernels are kept where every user may write
ENV NUMBA_CACHE_DIR=/tmp/cryosplat-kernels
WORKDIR /data
ENTRYPOINT ["cryosplat"]
CMD ["--help"]
