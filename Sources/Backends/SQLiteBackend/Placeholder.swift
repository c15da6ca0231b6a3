enum PlaceholderSQLiteBackend {}
