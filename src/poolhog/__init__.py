"""poolhog finds the code that hogs your database connection pool."""
