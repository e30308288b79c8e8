"""refuse.py ERRNO NUMBER[,NUMBER...] COMMAND...: run a command for which these system calls fail (Linux, x86-64)."""

import ctypes
import os
import struct
import sys

NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
FAIL, ALLOW = 0x00050000, 0x7FFF0000

error, numbers, command = int(sys.argv[1]), map(int, sys.argv[2].split(",")), sys.argv[3:]
program = [(LOAD, 0, 0, 0)]  # the number of the call
for number in numbers:
    program += [(JUMP_IF_EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | error)]
program.append((RETURN, 0, 0, ALLOW))
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
given = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
libc = ctypes.CDLL(None)
if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(
    SECCOMP, ctypes.c_ulong(FILTER), ctypes.c_void_p(ctypes.addressof(given)), 0, 0
):
    sys.exit("no filter can be set")
os.execvp(command[0], command)
