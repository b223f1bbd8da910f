/* Tags on what only a kernel's BTF has: per-CPU variables, and functions that are inlined and stand by themselves as well. */
#define DECL(text) __attribute__((btf_decl_tag(text)))

struct shared {
	int number DECL("on_member");
};

struct shared variable DECL("on_variable") __attribute__((section(".data..percpu")));

static inline int inlined(struct shared *argument DECL("on_parameter")) DECL("on_function");
static inline int inlined(struct shared *argument DECL("on_parameter"))
{
	return argument->number;
}

int (*keep)(struct shared *) = inlined;

int caller(struct shared *argument)
{
	return inlined(argument);
}
