"""The services of the mesh, each in a folder of its own."""

import os

# Before numpy is first imported: the threads of its BLAS spin while they wait, on cores that others need, and no matrix
# here is large enough to want them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
