# Words that the rules share.
package strongroom.lib

plan := input.plan

# The run file's own part of the plan; denials name paths in it.
run := input.plan.spec.spec

datasets := {"train": input.plan.data.train, "held_out": input.plan.data.held_out}

# A denial; the decision adds rule and control.
denial(path, expected, actual, fix) := {
	"path": path,
	"expected": expected,
	"actual": actual,
	"fix": fix,
}

# A field as a denial shows it, whether it is there or not.
shown(part, field) := text(object.get(part, field, words.absent))

text(value) := value if {
	is_string(value)
	value != ""
}

text("") := words.empty

text(value) := sprintf("%v", [value]) if not is_string(value)

# Not literals where they are used: rego-cpp 1.5.2 adds quotes to a literal that sprintf puts in.
words := {"absent": "nothing", "empty": "an empty text"}

under(uri, prefixes) if {
	some prefix in prefixes
	is_folder(prefix)
	startswith(uri, prefix)
}

is_folder(prefix) if {
	is_string(prefix)
	endswith(prefix, "/")
}

is_text(value) if {
	is_string(value)
	regex.match(`[^ ]`, value)
}

is_digest(value) if {
	is_string(value)
	regex.match(`^sha256:[0-9a-f]{64}$`, value)
}

is_positive(value) if {
	is_number(value)
	value > 0
}

is_local(uri) if startswith(uri, "local://")

# The evaluator, where it is a sealed one.
sealed_evaluator := plan.evaluator.sealed if is_object(plan.evaluator.sealed)

evaluator_uris := {uri | uri := sealed_evaluator.uri}

# Everything that the run reads or writes, by use.
inputs := {plan.data.train.uri, plan.data.held_out.uri, plan.model.uri} | evaluator_uris

run_folder := concat("", [plan.outputs, plan.run, "/"])

# Where the run file says how a lease's bucket is reached; concat for the same reason.
access_path(lease, field) := concat(".", ["spec.access", format_int(min(indexes), 10), field]) if {
	indexes := access_of(lease)
	count(indexes) > 0
}

access_path(lease, _) := "spec.access" if count(access_of(lease)) == 0

access_of(lease) := {i | entry := run.access[i]; reaches(entry, lease)}

reaches(entry, lease) if {
	entry.role == lease.role
	startswith(entry.uri, concat("", [lease.bucket, "/"]))
}
