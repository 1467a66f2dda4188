"""Memory and processor time, of processes that work, and of one that ends."""

import math
import os
import subprocess
import sys

from services.loadtest.resources import Resources

SPIN = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nprint(flush=True)\ninput()"


def test_memory_and_cores_are_those_of_the_process_and_nothing_once_it_is_gone():
    with subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        times = iter([0.0, 2.0, 3.0])
        resources = Resources({"child": child.pid, "nobody": 2**22 + 1}, lambda: next(times))
        child.stdout.readline()
        resources.sample()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not collected yet
        resources.sample()
    assert resources.at_s == [2.0, 3.0]
    # 0.2 s and the interpreter's start, over what the clock calls two seconds.
    assert 0.09 <= resources.cores["child"][0] < 1.0
    assert 4 < resources.rss_mb["child"][0] < 200
    assert math.isnan(resources.rss_mb["child"][1])
    assert math.isnan(resources.cores["child"][1])
    assert all(math.isnan(value) for value in resources.rss_mb["nobody"])
