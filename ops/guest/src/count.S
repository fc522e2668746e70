/*
 * count: a guest without an operating system, for accelerators that run real mode only. It is the machine's firmware (-bios count.bin).
 *
 * It counts in memory, at 0x10000, and puts each number into a ring of 8,192 words behind it, reading back the one before; every STEP-th
 * number goes to the serial port as "HF-COUNT 0001f000". Memory that is not what was written is told as "HF-BROKEN", for good.
 */
	.set STEP, 0x1000
	.set COM1, 0x3f8

	.code16
	.text
	.globl _start
_start:
	cli
	mov	$0x1000, %ax
	mov	%ax, %ds
	mov	%ax, %ss
	mov	$0xfff0, %sp
	movl	$0, 0
	movl	$0, 16			/* the ring's place of number 0 */
1:
	mov	0, %ebx			/* the last number must still be at its place */
	mov	%bx, %si
	and	$0x1fff, %si
	shl	$2, %si
	cmp	%ebx, 16(%si)
	jne	broken
	inc	%ebx
	mov	%bx, %si
	and	$0x1fff, %si
	shl	$2, %si
	mov	%ebx, 16(%si)
	mov	%ebx, 0
	test	$STEP - 1, %bx
	jnz	1b
	mov	$count, %si
	call	say
	mov	$8, %cx
2:
	rol	$4, %ebx
	mov	%bl, %al
	and	$15, %al
	add	$'0', %al
	cmp	$'9', %al
	jbe	3f
	add	$'a' - '9' - 1, %al
3:
	call	put
	loop	2b
	mov	$'\n', %al
	call	put
	jmp	1b

broken:
	mov	$memory, %si
	call	say
4:
	hlt
	jmp	4b

say:					/* the text at %cs:%si, to its zero */
	mov	%cs:(%si), %al
	inc	%si
	test	%al, %al
	jz	5f
	call	put
	jmp	say
5:
	ret

put:					/* %al */
	mov	%al, %ah
	mov	$COM1 + 5, %dx
6:
	in	%dx, %al
	test	$0x20, %al
	jz	6b
	mov	%ah, %al
	mov	$COM1, %dx
	out	%al, %dx
	ret

count:
	.asciz	"HF-COUNT "
memory:
	.asciz	"HF-BROKEN\n"

	.org	0xfff0			/* where the processor begins */
	ljmp	$0xf000, $_start
	.org	0x10000, 0
