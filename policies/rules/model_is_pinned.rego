# The base model is the one that the run file pins, file by file, and a listed one where the
# customer lists models.
package strongroom.rules.model_is_pinned

import data.settings
import data.strongroom.lib

pass if {
	pinned
	listed
}

pinned if {
	lib.is_digest(lib.plan.model.digest)
	lib.plan.model.digest == lib.run.model.digest
	count(lib.plan.model.files) > 0
	every file in lib.plan.model.files {
		lib.is_digest(file.sha256)
		lib.is_positive(file.size_bytes)
	}
}

listed if count(settings.model_digests) == 0

listed if lib.plan.model.digest in settings.model_digests

deny contains lib.denial(
	"spec.model.digest",
	"the digest of the model in the bucket, with a SHA-256 for each file",
	lib.shown(lib.plan.model, "digest"),
	"Pin the model's digest; `strongroom plan` prints what it found",
) if not pinned

deny contains lib.denial(
	"spec.model.digest",
	"a model in the policy's model_digests",
	lib.shown(lib.plan.model, "digest"),
	"Use a listed model, or add its digest to the policy's model_digests",
) if not listed
