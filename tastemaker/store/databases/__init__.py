"""SQLite and PostgreSQL under the store: opening, locking, writing, errors, restoring."""
