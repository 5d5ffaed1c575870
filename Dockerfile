# docker build -t trajrl . && docker run --rm trajrl        the two commands of README.md, in one image
# Where the index serves torch for CUDA, and the image is to go without: --build-arg PIP_EXTRA_INDEX_URL=... of the CPU
# wheels, as the selector on pytorch.org prints it, and --build-arg TORCH=torch==2.13.0+cpu.
FROM python:3.11-slim
ARG PIP_EXTRA_INDEX_URL
ARG TORCH=torch
WORKDIR /trajrl
COPY . .
RUN pip install --no-cache-dir -c constraints.txt "$TORCH" && pip install --no-cache-dir -c constraints.txt .
WORKDIR /home
CMD ["sh", "-c", "trajrl offline --sampler cluster && trajrl online --metric td_error_rank"]
