/* Sets of BTF ids, in the layout of the kernel's include/linux/btf_ids.h. */
#define ENTRY(set_flags, name, number)                                      \
	".local __BTF_ID__func__" name "__" number "\n"                     \
	".type __BTF_ID__func__" name "__" number ", STT_OBJECT\n"          \
	".size __BTF_ID__func__" name "__" number ", 4\n"                   \
	"__BTF_ID__func__" name "__" number ": .4byte 0\n"                  \
	".4byte " set_flags "\n"
#define SET8(name, flags, entries)                                          \
	asm(".pushsection .BTF_ids, \"a\"\n"                                \
	    ".type __BTF_ID__set8__" name ", STT_OBJECT\n"                  \
	    "__BTF_ID__set8__" name ": .4byte 0\n.4byte " flags "\n" entries \
	    ".size __BTF_ID__set8__" name ", .-__BTF_ID__set8__" name "\n"  \
	    ".popsection\n")

SET8("registered", "1", ENTRY("0", "plain_kfunc", "1") ENTRY("0x1000", "fast_kfunc", "2"));
SET8("other", "0", ENTRY("0", "no_kfunc", "3"));
SET8("again", "1", ENTRY("0x1000", "fast_kfunc", "4") ENTRY("0x1000", "sometimes__fast", "5") ENTRY("0", "missing", "6"));
SET8("more", "1", ENTRY("0", "sometimes__fast", "7"));

int plain_kfunc(int a) { return a; }
int fast_kfunc(int a) { return a + 1; }
int no_kfunc(int a) { return a + 2; }
int sometimes__fast(int a) { return a + 3; }
