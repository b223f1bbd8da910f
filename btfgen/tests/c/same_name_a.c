/* With same_name_b.c: one name, two definitions, and what that does to the types around it. */
struct shared {
    int value;
    struct shared *next;
};
struct private {
    int a;
    struct shared *shared;
};
struct opaque;
struct user {
    struct private *mine;
    struct shared *ours;
    struct opaque *theirs;
};
typedef struct private private_t;
struct only_pointer {
    struct private *pointer;
};
struct user g_user_a;
private_t *g_private_a;
struct only_pointer g_only_a;
