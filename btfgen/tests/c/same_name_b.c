struct shared {
    int value;
    struct shared *next;
};
struct private {
    long b, c;
};
struct opaque {
    struct user *back;
    char text[8];
};
struct user {
    struct private *mine;
    struct shared *ours;
    struct opaque *theirs;
};
typedef struct private private_t;
struct only_pointer {
    struct private *pointer;
};
struct user g_user_b;
private_t *g_private_b;
struct opaque g_opaque;
struct only_pointer g_only_b;
