"""The SQL statements that a service sends."""

from sqlalchemy import event

from tests.support.service import Service


def noted_statements(service: Service) -> list[str]:
    """Return a list that gets every statement that the service sends from now on."""
    asked: list[str] = []
    engine = service.state.sessions.kw["bind"]

    def note(_connection, _cursor, statement, *_):
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    return asked
