"""The work behind the routes, without evaluations and deletions: functions of `Parts`."""
