/* What becomes of a bug. */
#ifndef PANIC_H
#define PANIC_H

/* Prints where the bug is, and reports failure. */
_Noreturn void panic(const char *file, int line, const char *what);

#define ASSERT(CONDITION) ((CONDITION) ? (void)0 : panic(__FILE__, __LINE__, #CONDITION))

#endif
