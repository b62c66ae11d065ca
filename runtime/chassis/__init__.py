"""Process shell shared by the services: lifecycle, configuration, HTTP, authentication, logs, metrics, clock."""
