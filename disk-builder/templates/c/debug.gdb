# In one terminal:  disk-builder run --gdb kernel.elf
# In another one:   gdb -x debug.gdb
set confirm off
symbol-file kernel.elf
target remote localhost:1234
# By the CPU's own means: there is no memory yet in which gdb could put a breakpoint.
hbreak _start
continue
