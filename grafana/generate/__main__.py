"""Writes the dashboards: `python3 grafana/generate` into grafana/dashboards, or into the directory given."""

import json
import pathlib
import sys

sys.dont_write_bytecode = True

import overview
import raft_storage
import wheel_executors


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "dashboards"
    target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    target.mkdir(parents=True, exist_ok=True)
    for dashboard in (overview.DASHBOARD, raft_storage.DASHBOARD, wheel_executors.DASHBOARD):
        name = dashboard["uid"].removeprefix("bosingak-")
        (target / f"{name}.json").write_text(json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
