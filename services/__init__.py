"""The services of the mesh, each in a folder of its own."""

import gc
import os

# Before numpy is first imported: the threads of its BLAS spin while they wait, on cores that others need, and no matrix
# here is large enough to want them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Before grpc is first imported: while calls are under way, its handlers break a process that is forked, before its program
# begins. PostgreSQL is started by a fork where it runs as another user. The handlers are for those who go on in Python after one,
# and nothing here does.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# Nearly all that comes in with the code stays: looking at it for garbage again and again takes a tenth of a start. What
# serves sets its own pace once it is open.
gc.set_threshold(50_000, 20, 100)
