"""Stands in for a stage: counts to a number, 20 a second, and saves how far it is when told to stop."""

import signal
import sys
import time
from pathlib import Path

state, end = Path(sys.argv[1]), int(sys.argv[2])
stop = []
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _: stop.append(number))
count = int(state.read_text()) if state.exists() else 0
with state.with_suffix(".starts").open("a") as starts:
    print(count, file=starts)
while count < end and not stop:
    time.sleep(0.05)
    count += 1
state.write_text(str(count))
sys.exit(75 if count < end else 0)
