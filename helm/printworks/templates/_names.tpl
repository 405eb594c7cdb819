{{/* Names and labels. All take the root context, or a dict with `root` and what else they need. */}}

{{- define "printworks.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for what is put behind it. */}}
{{- define "printworks.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "printworks.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "printworks.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What tells this release's objects from all others: never to change, because selectors can't. */}}
{{- define "printworks.selector" -}}
app.kubernetes.io/name: printworks
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .pool }}
printworks.io/pool: {{ . }}
{{- end }}
{{- end }}

{{/* Labels of an object: root, component (optional), pool (optional). */}}
{{- define "printworks.labels" -}}
{{ include "printworks.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* metadata of an object: name (after the full name), root, component, pool, annotations (optional). */}}
{{- define "printworks.metadata" -}}
name: {{ include "printworks.fullname" .root }}{{ with .name }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "printworks.labels" . | nindent 2 }}
{{- with merge (dict) (default (dict) .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "printworks.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "printworks.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* An image's full name: registry (before the repository), image, default (tag). */}}
{{- define "printworks.image" -}}
{{- with .registry }}{{ . | trimSuffix "/" }}/{{ end }}
{{- .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .default .image.tag }}{{ end }}
{{- end }}

{{/* The paths that are the API; /health and /metrics are for the cluster alone. */}}
{{- define "printworks.paths" -}}
prefixes: [/api, /generations, /stored]
exact: [/docs, /openapi.json]
{{- end }}
