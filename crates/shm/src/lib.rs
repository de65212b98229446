//! The memory that a family of processes shares: allocator, participants, handles, messages
