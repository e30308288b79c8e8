"""What is known of a thread by its ident."""

import importlib
import signal
import sys
import threading
import unittest

from .. import package

threads = importlib.import_module(f"{package.__name__}.interpreter.threads")


class WhatAThreadBlocks(unittest.TestCase):
    @unittest.skipUnless(sys.platform == "linux", "only Linux tells")
    def test_is_told_by_its_mask_alone(self):
        def run():
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
            for signum in signal.SIGUSR1, signal.SIGUSR2:
                told.append(threads.blocks(threading.get_ident(), signum))
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            told.append(threads.blocks(threading.get_ident(), signal.SIGUSR2))

        told = []
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        self.assertEqual(told, [False, True, False])

    def test_may_be_anything_where_the_thread_is_not_known(self):
        self.assertTrue(threads.blocks(1, 10))


if __name__ == "__main__":
    unittest.main()
