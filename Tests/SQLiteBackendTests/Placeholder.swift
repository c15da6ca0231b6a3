enum PlaceholderSQLiteBackendTests {}
