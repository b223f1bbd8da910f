/* Only declares what the other two define. */
struct private;
struct shared;
struct opaque;
struct user {
    struct private *mine;
    struct shared *ours;
    struct opaque *theirs;
};
struct only_pointer {
    struct private *pointer;
};
struct user g_user_c;
struct only_pointer g_only_c;
