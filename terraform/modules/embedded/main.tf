# The customer's side on this machine. The modules for clouds tell more: identities, and the part of
# a run file that names buckets and roles.

resource "strongroom_stack" "this" {}
