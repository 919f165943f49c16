"""The serving process below the application: connections, answers on their way, metrics, worker."""
