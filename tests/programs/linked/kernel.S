/* A kernel for each protocol, to be linked by any linker: -DMULTIBOOT1, -DMULTIBOOT2, -DLIMINE or
   -DBOOTPATH. The first two are 32-bit programs.

   It looks at what a linker and a loader have to agree on: bytes of each section, zeros in the last
   one, and a pointer in the data, which a position-independent kernel has relocated. Then it prints
   OKAY on COM1 and reports success at QEMU's exit port. */

#define COM1       0x3F8
#define EXIT_PORT  0xF4
#define SUCCESS    0x10
#define FAILURE    0x11
#define MARK       0x4B4E494C
#define ZEROS      0x3000

        /* A header goes first, or a linker without a script puts it where no loader looks. */
        .text
#if defined(MULTIBOOT1)
        .balign 4
        .long   0x1BADB002, 0, -0x1BADB002
#elif defined(MULTIBOOT2)
        .balign 8
header: .long   0xE85250D6, 0, end - header, -(0xE85250D6 + end - header)
        .word   0, 0
        .long   8
end:
#elif defined(LIMINE)
        .section .data
        .balign 8
        /* the base revision */
revision:
        .quad   0xF9562B2D5C95A6C8, 0x6A7B384944536BDC, 3
#endif

        .section .rodata
words:  .asciz  "OKAY\n"
mark:   .long   MARK

        .section .data
        .balign 8
#if defined(MULTIBOOT1) || defined(MULTIBOOT2)
pointer:
        .long   mark
#else
pointer:
        .quad   mark
#endif

        .section .bss
        .balign 16
zeros:  .skip   ZEROS

        .text
        .globl  _start
_start:
        mov     $FAILURE, %ebx
#if defined(MULTIBOOT1) || defined(MULTIBOOT2)
        mov     pointer, %esi
        mov     $zeros, %edi
#else
        mov     pointer(%rip), %rsi
        lea     zeros(%rip), %rdi
#endif
#if defined(LIMINE)
        /* The loader sets it to 0 if it knows the revision. */
        cmpq    $0, revision + 16(%rip)
        jne     report
#endif
#if defined(MULTIBOOT1) || defined(MULTIBOOT2)
        cmpl    $MARK, (%esi)
#else
        cmpl    $MARK, (%rsi)
#endif
        jne     report
        mov     $ZEROS, %ecx
        xor     %eax, %eax
        cld
        repe    scasb
        jne     report
        mov     $SUCCESS, %ebx
        mov     $COM1, %edx
#if defined(MULTIBOOT1) || defined(MULTIBOOT2)
        mov     $words, %esi
#else
        lea     words(%rip), %rsi
#endif
next:   lodsb
        test    %al, %al
        jz      report
        out     %al, %dx
        jmp     next

report: mov     $EXIT_PORT, %edx
        mov     %ebx, %eax
        out     %eax, %dx
stop:   cli
        hlt
        jmp     stop

        .section .note.GNU-stack, "", @progbits
