//! What waits to be sent elsewhere.
