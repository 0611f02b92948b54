"""Serves a GGUF file on a unix socket until its parent goes: `python -m services.models.llama FILE SOCKET THREADS`."""

import os
import sys

import xllamacpp

NICENESS = 10
CONTEXT_TOKENS = 8192
PARALLEL = 4


def main(gguf: str, socket: str, threads: str) -> None:
    os.nice(NICENESS)
    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.model_alias = {"local"}
    params.hostnames = [socket]
    params.n_ctx = CONTEXT_TOKENS * PARALLEL
    params.n_parallel = PARALLEL
    params.cpuparams.n_threads = int(threads)
    params.cpuparams_batch.n_threads = int(threads)
    server = xllamacpp.Server(params)
    sys.stdin.buffer.read()  # ends when the parent does
    del server
    os._exit(0)  # llama.cpp's own threads would keep an orphan alive


if __name__ == "__main__":
    main(*sys.argv[1:])
