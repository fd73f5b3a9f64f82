//! What the registry keeps and what it removes.
