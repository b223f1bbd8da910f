/*
 * The tags of gcc 16, in DWARF 5 for x86-64: what it writes for
 *
 *	struct s {
 *		int number DECL("first") DECL("second");
 *		int TYPE("user") TYPE("rcu") *pointer;
 *	};
 *	int function(struct s *argument DECL("on_parameter")) DECL("on_function");
 *
 * A DIE refers to its last tag (DW_AT_GNU_annotation, 0x2139), and each DW_TAG_GNU_annotation (0x6001) to the one before it.
 */
	.text
	.globl	function
	.type	function, @function
function:
	movl	(%rdi), %eax
	ret
.Lend:
	.size	function, .-function

	.section .debug_info,"",@progbits
.Lunit:
	.long	.Lunit_end - .Lversion
.Lversion:
	.value	5
	.byte	1, 8
	.long	.Labbrev
	.uleb128 1			/* compile_unit */
	.byte	0x1d			/* C11 */
	.uleb128 2			/* structure_type */
	.string	"s"
	.byte	16
	.uleb128 3			/* member with tags */
	.string	"number"
	.long	.Lint - .Lunit
	.byte	0
	.long	.Lsecond - .Lunit
	.uleb128 4			/* member */
	.string	"pointer"
	.long	.Lpointer - .Lunit
	.byte	8
	.byte	0
.Lint:	.uleb128 5			/* base_type */
	.byte	4, 5
	.string	"int"
.Lfirst:
	.uleb128 6			/* GNU_annotation, the first one written */
	.string	"btf_decl_tag"
	.string	"first"
.Lsecond:
	.uleb128 7			/* GNU_annotation, one after another */
	.string	"btf_decl_tag"
	.string	"second"
	.long	.Lfirst - .Lunit
.Lpointer:
	.uleb128 8			/* pointer_type with tags */
	.long	.Lint - .Lunit
	.long	.Lrcu - .Lunit
.Luser:	.uleb128 6
	.string	"btf_type_tag"
	.string	"user"
.Lrcu:	.uleb128 7
	.string	"btf_type_tag"
	.string	"rcu"
	.long	.Luser - .Lunit
	.uleb128 9			/* subprogram */
	.string	"function"
	.long	.Lint - .Lunit
	.quad	function
	.quad	.Lend - function
	.long	.Lfunction_tag - .Lunit
	.uleb128 10			/* formal_parameter */
	.string	"argument"
	.long	.Lto_struct - .Lunit
	.uleb128 1
	.byte	0x55			/* DW_OP_reg5 */
	.long	.Lparameter_tag - .Lunit
	.byte	0
.Lto_struct:
	.uleb128 11			/* pointer_type */
	.long	.Lstruct - .Lunit
.Lparameter_tag:
	.uleb128 6
	.string	"btf_decl_tag"
	.string	"on_parameter"
.Lfunction_tag:
	.uleb128 6
	.string	"btf_decl_tag"
	.string	"on_function"
	.byte	0
.Lunit_end:
	/* The struct follows the unit's root, which has two bytes after a header of twelve. */
	.set	.Lstruct, .Lunit + 14

	.section .debug_abbrev,"",@progbits
	/* code, tag, children; attribute and form, … */
	.macro abbrev code, tag, children, attributes:vararg
	.uleb128 \code, \tag
	.byte	\children
	.uleb128 \attributes
	.byte	0, 0
	.endm
.Labbrev:
	abbrev 1, 0x11, 1, 0x13, 0x0b
	abbrev 2, 0x13, 1, 0x03, 0x08, 0x0b, 0x0b
	abbrev 3, 0x0d, 0, 0x03, 0x08, 0x49, 0x13, 0x38, 0x0b, 0x2139, 0x13
	abbrev 4, 0x0d, 0, 0x03, 0x08, 0x49, 0x13, 0x38, 0x0b
	abbrev 5, 0x24, 0, 0x0b, 0x0b, 0x3e, 0x0b, 0x03, 0x08
	abbrev 6, 0x6001, 0, 0x03, 0x08, 0x1c, 0x08
	abbrev 7, 0x6001, 0, 0x03, 0x08, 0x1c, 0x08, 0x2139, 0x13
	abbrev 8, 0x0f, 0, 0x49, 0x13, 0x2139, 0x13
	abbrev 9, 0x2e, 1, 0x03, 0x08, 0x49, 0x13, 0x11, 0x01, 0x12, 0x07, 0x2139, 0x13
	abbrev 10, 0x05, 0, 0x03, 0x08, 0x49, 0x13, 0x02, 0x18, 0x2139, 0x13
	abbrev 11, 0x0f, 0, 0x49, 0x13
	.byte	0

	.section .note.GNU-stack,"",@progbits
