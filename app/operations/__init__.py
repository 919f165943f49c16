"""The operations behind the routes, deletions left out: functions of `Parts`, one file a task."""
