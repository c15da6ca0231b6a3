#include <libpq-fe.h>
#include <sys/eventfd.h>

// Swift does not import macros that are characters.
static const int GODWIT_PG_SEVERITY = PG_DIAG_SEVERITY_NONLOCALIZED;
static const int GODWIT_PG_SQLSTATE = PG_DIAG_SQLSTATE;
static const int GODWIT_PG_MESSAGE = PG_DIAG_MESSAGE_PRIMARY;
static const int GODWIT_PG_CONSTRAINT = PG_DIAG_CONSTRAINT_NAME;
static const int GODWIT_PG_FUNCTION = PG_DIAG_SOURCE_FUNCTION;
