//! Multiprocessing as a native library: locks, queues, processes and pools over shared memory.
