"""A suite with a test that hangs, for README: ``python -m timeout_manager unittest --timeout 2 tests.hung``."""

import socket
import unittest


class Echo(unittest.TestCase):
    def setUp(self):
        self.client, self.server = socket.socketpair()

    def tearDown(self):
        self.client.close()
        self.server.close()

    def ask(self, question):
        self.client.sendall(question)
        return self.client.recv(100)

    def test_answer(self):
        self.server.sendall(b"hello")
        self.assertEqual(self.ask(b"hello"), b"hello")

    def test_silence(self):
        self.assertEqual(self.ask(b"hello"), b"hello")

    def test_sockets_differ(self):
        self.assertNotEqual(self.client.fileno(), self.server.fileno())
