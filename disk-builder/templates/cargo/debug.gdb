# In one terminal:  disk-builder run --gdb target/x86_64-unknown-none/debug/{{name}}
# In another one:   gdb -x debug.gdb
set confirm off
# The kernel is position-independent: the loader puts its first byte at this address.
symbol-file -o 0xffffffff80000000 target/x86_64-unknown-none/debug/{{name}}
target remote localhost:1234
# By the CPU's own means: there is no memory yet in which gdb could put a breakpoint.
hbreak _start
continue
