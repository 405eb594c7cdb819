{{/* What processes are told: settings by a ConfigMap, secrets and what differs between them one by one. */}}

{{/* A setting's value as its variable has it. */}}
{{- define "printworks.word" -}}
{{- if kindIs "slice" . }}
{{- range $index, $each := . }}{{ if $index }},{{ end }}{{ include "printworks.word" $each }}{{ end }}
{{- else if kindIs "float64" . }}
{{- if eq . (floor .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else }}
{{- . }}
{{- end }}
{{- end }}

{{/* Settings of all processes, as variables of a ConfigMap. */}}
{{- define "printworks.settings" -}}
PRINTWORKS_SERVER_NAME: {{ include "printworks.server" . | quote }}
{{- range $name, $value := .Values.settings }}
PRINTWORKS_{{ upper $name }}: {{ include "printworks.word" $value | quote }}
{{- end }}
{{- end }}

{{/* Settings as variables of a container. */}}
{{- define "printworks.variables" -}}
{{- range $name, $value := . }}
- name: PRINTWORKS_{{ upper $name }}
  value: {{ include "printworks.word" $value | quote }}
{{- end }}
{{- end }}

{{/* Whether a secret is there at all. */}}
{{- define "printworks.given" -}}
{{- if or .existingSecret .value }}yes{{ end }}
{{- end }}

{{/* The Secret that it is in: root, secret. */}}
{{- define "printworks.secretName" -}}
{{- default (include "printworks.fullname" .root) .secret.existingSecret }}
{{- end }}

{{/* A variable from a secret, if there is one: root, name, secret. */}}
{{- define "printworks.secretVariable" -}}
{{- if include "printworks.given" .secret }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "printworks.secretName" . }}
      key: {{ .secret.key }}
{{- end }}
{{- end }}

{{/* Where the ledger is. Kubernetes puts the password into the URL, so that only Secrets hold it. */}}
{{- define "printworks.redis" -}}
{{- $redis := .Values.redis }}
{{- if eq $redis.mode "external" }}
{{- include "printworks.secretVariable" (dict "root" . "name" "PRINTWORKS_REDIS_URL" "secret" $redis.external.url) }}
{{- else }}
{{- include "printworks.secretVariable" (dict "root" . "name" "REDIS_PASSWORD" "secret" $redis.password) }}
{{- if eq $redis.mode "sentinel" }}
{{- include "printworks.secretVariable" (dict "root" . "name" "SENTINEL_PASSWORD" "secret" $redis.sentinel.password) }}
{{- end }}
- name: PRINTWORKS_REDIS_URL
  {{- if eq $redis.mode "embedded" }}
  value: redis://:$(REDIS_PASSWORD)@{{ include "printworks.fullname" . }}-redis:6379/0
  {{- else }}
  {{- $password := ternary ":$(REDIS_PASSWORD)" "" (ne "" (include "printworks.given" $redis.password)) }}
  {{- $access := print $redis.sentinel.username $password }}
  {{- $asking := ternary "?sentinel_password=$(SENTINEL_PASSWORD)" "" (ne "" (include "printworks.given" $redis.sentinel.password)) }}
  {{- with $redis.sentinel }}
  value: redis+sentinel://{{ with $access }}{{ . }}@{{ end }}{{ join "," .hosts }}/{{ .master }}/{{ int .database }}{{ $asking }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What every process of ours reads. */}}
{{- define "printworks.common" -}}
- name: HOME
  value: /tmp
{{- include "printworks.redis" . }}
{{- end }}

{{/* Opens and seals. */}}
{{- define "printworks.secretKey" -}}
{{- include "printworks.secretVariable" (dict "root" . "name" "PRINTWORKS_SECRET_KEY" "secret" .Values.secrets.secretKey) }}
{{- end }}

{{/* Where models lie, and which there are to begin with. */}}
{{- define "printworks.modelsEnvironment" -}}
- name: PRINTWORKS_MODELS_DIR
  value: /models
{{- if .Values.models.list }}
- name: PRINTWORKS_MODELS_FILE
  value: /etc/printworks/models/models.yaml
{{- end }}
{{- end }}

{{- define "printworks.hubToken" -}}
{{- include "printworks.secretVariable" (dict "root" . "name" "HF_TOKEN" "secret" .Values.secrets.hubToken) }}
{{- end }}

{{/* Where it answers probes and Prometheus. */}}
{{- define "printworks.metricsEnvironment" -}}
- name: PRINTWORKS_METRICS_HOST
  value: {{ .Values.bindAddress | quote }}
- name: PRINTWORKS_METRICS_PORT
  value: "9100"
{{- end }}
