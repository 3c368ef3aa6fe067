#include "panic.h"

#include "console.h"
#include "machine.h"

_Noreturn void panic(const char *file, int line, const char *what) {
    print("panic at ");
    print(file);
    print(":");
    print_decimal((uint64_t)line);
    print(": ");
    print(what);
    print("\n");
    end(BOOTPATH_EXIT_FAILURE);
}
