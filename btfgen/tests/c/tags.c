/* Tags on everything that can have one, as the kernel writes them. */
#define TYPE(text) __attribute__((btf_type_tag(text)))
#define DECL(text) __attribute__((btf_decl_tag(text)))

struct tagged {
	int number DECL("on_member") DECL("twice");
	int TYPE("user") TYPE("rcu") *two_tags;
	int TYPE("inner") *TYPE("outer") *nested;
	void TYPE("to_void") *nothing;
	int plain;
} DECL("on_struct") DECL("on_struct_too");

union both {
	int small;
	long large DECL("on_union_member");
	struct {
		int deep DECL("on_anonymous_member");
	} part DECL("on_part");
} DECL("on_union");

typedef int counter DECL("on_typedef");
typedef int TYPE("in_typedef") *tagged_pointer;

__attribute__((noinline)) int function(struct tagged *argument, union both *second DECL("on_parameter"),
				       counter third, tagged_pointer fourth) DECL("on_function");
int function(struct tagged *argument, union both *second DECL("on_parameter"), counter third,
	     tagged_pointer fourth)
{
	return argument->number + second->small + third + *fourth;
}
