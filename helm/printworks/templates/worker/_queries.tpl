{{/* What KEDA asks Prometheus. Each query ends empty, which is an error and leads to the fallback, when no gateway tells
that it sees the ledger: nothing known is not nothing to do. */}}

{{/* Matchers of the pool's models, in quotes as PromQL reads them: root, pool. */}}
{{- define "printworks.modelMatchers" -}}
server={{ include "printworks.server" .root | quote }}
{{- with .pool.serves }}
{{- $ids := list }}
{{- range . }}{{ $ids = append $ids (regexQuoteMeta .) }}{{ end -}}
,model=~{{ join "|" $ids | quote }}
{{- end }}
{{- end }}

{{- define "printworks.ledgerIsUp" -}}
and on () max(printworks_ledger_up{server={{ include "printworks.server" .root | quote }}}) == 1
{{- end }}

{{/* Work of the pool's models, in seconds of one GPU. */}}
{{- define "printworks.backlogQuery" -}}
(sum(max by (model) (printworks_backlog_gpu_seconds{ {{- include "printworks.modelMatchers" . -}} })) or vector(0))
{{ include "printworks.ledgerIsUp" . }}
{{- end }}

{{/* Jobs that wait for the pool, told by their models because a pool at zero has no worker that would tell; and those
that run in it, so that it is not taken away from under them. */}}
{{- define "printworks.jobsQuery" -}}
((sum(max by (model) (printworks_jobs{ {{- include "printworks.modelMatchers" . -}} ,state="queued"})) or vector(0))
+ (max(printworks_pool_jobs{server={{ include "printworks.server" .root | quote }},pool={{ .pool.name | quote }},state="running"}) or vector(0)))
{{ include "printworks.ledgerIsUp" . }}
{{- end }}
