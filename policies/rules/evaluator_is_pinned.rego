# The evaluator is known by its digest, and so are the numbers that it may report. A sealed one is
# known by its manifest, signed and sealed as a dataset has to be.
package strongroom.rules.evaluator_is_pinned

import data.settings
import data.strongroom.lib

# What the plan says as the run file says it; ranges and numbers of calls are part of the score.
kept := {"metrics": "metrics", "score_range": "range", "concurrency": "concurrency"}

pass if {
	pinned
	one_form
	is_array(lib.plan.evaluator.metrics)
	every here, there in kept {
		lib.plan.evaluator[here] == lib.run.evaluator[there]
	}
}

pinned if {
	lib.is_text(lib.plan.evaluator.name)
	lib.is_digest(lib.plan.evaluator.sha256)
	lib.is_positive(lib.plan.evaluator.size_bytes)
	lib.is_positive(lib.plan.evaluator.timeout_s)
}

# A source file lies beside the plan; the sealed form has all that a dataset must have.
one_form if lib.plan.evaluator.sealed == null

one_form if {
	sealed := lib.plan.evaluator.sealed
	lib.plan.evaluator.sha256 == sealed.manifest_sha256
	lib.plan.evaluator.name == sealed.name
	sealed.signer in settings.signers
	lib.is_text(sealed.keyset.wrapped)
	lib.is_positive(sealed.keyset.key_id)
	lib.is_digest(sealed.keyset.commitment)
	count(sealed.keyset.context) > 0
	lib.under(sealed.keyset.kms, settings.kms_prefixes)
	sealed.shards == 1
	sealed.records == 1
	sealed.ciphertext_bytes > sealed.plaintext_bytes
}

deny contains lib.denial(
	"spec.evaluator.sealed",
	"one source, sealed under your key, with a manifest signed by a key in the policy's signers",
	lib.shown(object.get(lib.plan.evaluator, "sealed", {}), "signer"),
	"Seal it with `strongroom evaluator seal --key <your key>`",
) if not one_form

deny contains lib.denial(
	"spec.evaluator.source",
	"a non-empty file with a SHA-256 and a timeout",
	lib.shown(lib.plan.evaluator, "sha256"),
	"Plan the run again with the evaluator in place",
) if not pinned

deny contains lib.denial(
	concat(".", ["spec.evaluator", there]),
	sprintf("the run file's %v", [lib.shown(lib.run.evaluator, there)]),
	lib.shown(lib.plan.evaluator, here),
	"Plan the run again with this version of strongroom",
) if {
	some here, there in kept
	not lib.plan.evaluator[here] == lib.run.evaluator[there]
}
